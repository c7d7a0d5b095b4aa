param location string
param databaseServer string
param image string
param workerImage string

@secure()
param administratorPassword string

@secure()
param appPassword string

var tags = { environment: 'production' }
var billed = union(tags, { 'cost-center': 'fundrbolt' })
var plan = 'fundrbolt-production-plan'
var api = 'fundrbolt-production-api'
var vaultUri = 'https://fundrbolt-production-kv${environment().suffixes.keyvaultDns}'
var frontends = [ 'web', 'admin' ]
var databaseParameters = [
  { name: 'idle_in_transaction_session_timeout', value: '60000' }
  { name: 'work_mem', value: '8192' }
  { name: 'max_connections', value: '120' }
]

resource farm 'Microsoft.Web/serverfarms@2023-12-01' = {
  name: plan
  location: location
  tags: tags
  kind: 'linux'
  sku: { name: 'P1v3', tier: 'PremiumV3', size: 'P1v3', family: 'Pv3', capacity: 1 }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2023-12-01' = {
  name: api
  location: location
  tags: tags
  kind: 'app,linux,container'
  identity: { type: 'SystemAssigned' }
  properties: {
    serverFarmId: farm.id
    httpsOnly: true
    clientAffinityEnabled: false
    siteConfig: { linuxFxVersion: image }
  }
}

resource web 'Microsoft.Web/sites/config@2023-12-01' = {
  parent: app
  name: 'web'
  properties: {
    alwaysOn: true
    http20Enabled: true
    minTlsVersion: '1.2'
    ftpsState: 'FtpsOnly'
    healthCheckPath: '/health'
  }
}

resource appSettings 'Microsoft.Web/sites/config@2023-12-01' = {
  parent: app
  name: 'appsettings'
  properties: {
    DATABASE_URL: '@Microsoft.KeyVault(SecretUri=${vaultUri}/secrets/database-url/)'
    FUNDRBOLT_ENVIRONMENT: 'production'
    PAYMENT_TIMEOUT_SECONDS: '1'
    REDIS_URL: '@Microsoft.KeyVault(SecretUri=${vaultUri}/secrets/redis-url/)'
    SESSION_SECRET: '@Microsoft.KeyVault(SecretUri=${vaultUri}/secrets/session-secret/)'
    WEBSITES_PORT: '8000'
  }
  dependsOn: [ web, databaseUrl, redisUrl ]
}

// What the slot runs, and with which settings, is a release's business.
resource staging 'Microsoft.Web/sites/slots@2023-12-01' = {
  parent: app
  name: 'staging'
  location: location
  tags: tags
  kind: 'app,linux,container'
  identity: { type: 'SystemAssigned' }
  properties: { serverFarmId: farm.id, httpsOnly: true, clientAffinityEnabled: false }
}

resource worker 'Microsoft.Web/sites@2023-12-01' = {
  name: 'fundrbolt-production-worker'
  location: location
  tags: tags
  kind: 'app,linux,container'
  identity: { type: 'SystemAssigned' }
  properties: { serverFarmId: farm.id, httpsOnly: true, clientAffinityEnabled: false, siteConfig: { linuxFxVersion: workerImage } }
}

resource database 'Microsoft.DBforPostgreSQL/flexibleServers@2022-12-01' = {
  name: databaseServer
  location: location
  tags: billed
  sku: { name: 'Standard_D2ds_v5', tier: 'GeneralPurpose' }
  properties: {
    version: '18'
    administratorLogin: 'fundrbolt_admin'
    administratorLoginPassword: administratorPassword
    authConfig: { activeDirectoryAuth: 'Enabled', passwordAuth: 'Enabled', tenantId: tenant().tenantId }
    backup: { backupRetentionDays: 7, geoRedundantBackup: 'Enabled' }
    highAvailability: { mode: 'Disabled' }
    storage: { storageSizeGB: 128 }
  }
}

resource withinAzure 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2022-12-01' = {
  parent: database
  name: 'AllowAllAzureServicesAndResourcesWithinAzureIps'
  properties: { startIpAddress: '0.0.0.0', endIpAddress: '0.0.0.0' }
}

@batchSize(1)
resource configured 'Microsoft.DBforPostgreSQL/flexibleServers/configurations@2022-12-01' = [for each in databaseParameters: {
  parent: database
  name: each.name
  properties: { value: each.value, source: 'user-override' }
  dependsOn: [ withinAzure ]
}]

resource cache 'Microsoft.Cache/redis@2024-03-01' = {
  name: 'fundrbolt-production-redis'
  location: location
  tags: billed
  properties: {
    sku: { name: 'Standard', family: 'C', capacity: 1 }
    enableNonSslPort: false
    minimumTlsVersion: '1.2'
    redisConfiguration: { 'maxmemory-policy': 'volatile-lru', 'maxmemory-reserved': '125' }
  }
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: 'fundrbolt-production-kv'
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
  }
}

resource keep 'Microsoft.Authorization/locks@2020-05-01' = {
  scope: vault
  name: 'fundrbolt-keep'
  properties: { level: 'CanNotDelete', notes: 'The platform\'s secrets.' }
}

resource databaseUrl 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = {
  parent: vault
  name: 'database-url'
  tags: { owner: 'platform', 'used-by': 'fundrbolt-api' }
  properties: {
    contentType: 'text/plain'
    value: 'postgresql://fundrbolt_app:${appPassword}@${database.properties.fullyQualifiedDomainName}:5432/fundrbolt?sslmode=require'
  }
}

resource redisUrl 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = {
  parent: vault
  name: 'redis-url'
  properties: {
    value: 'rediss://:${uriComponent(cache.listKeys().primaryKey)}@${cache.properties.hostName}:${cache.properties.sslPort}/0'
  }
}

// Static Web Apps are not to be had in every region.
resource sites 'Microsoft.Web/staticSites@2023-12-01' = [for frontend in frontends: {
  name: 'fundrbolt-production-${frontend}'
  location: 'eastus2'
  tags: tags
  sku: { name: 'Standard', tier: 'Standard' }
  properties: { stagingEnvironmentPolicy: 'Enabled', allowConfigFileUpdates: true }
}]

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'fundrbolt-production-insights'
  location: location
  tags: tags
  kind: 'web'
  properties: { Application_Type: 'web', RetentionInDays: 90 }
}

// Receipts of donations, as PDF.
resource receipts 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: 'fundrboltreceipts'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: { minimumTlsVersion: 'TLS1_2', supportsHttpsTrafficOnly: true, allowBlobPublicAccess: false }
}

output apiUrl string = 'https://${app.properties.defaultHostName}'
output databaseHost string = database.properties.fullyQualifiedDomainName
