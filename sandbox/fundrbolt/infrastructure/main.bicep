targetScope = 'subscription'

@description('Where the platform runs.')
param location string = 'eastus'

@description('The database server that the app uses.')
param databaseServer string

@description('What the app runs: DOCKER|image@digest.')
param image string

@description('What the background worker runs.')
param workerImage string

@secure()
@description('Of the database server\'s administrator.')
param administratorPassword string

@secure()
@description('Of the role that the app uses in the database.')
param appPassword string

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'fundrbolt-production-rg'
  location: location
}

module platform 'platform.bicep' = {
  name: 'fundrbolt-platform'
  scope: group
  params: {
    location: location
    databaseServer: databaseServer
    image: image
    workerImage: workerImage
    administratorPassword: administratorPassword
    appPassword: appPassword
  }
}

output apiUrl string = platform.outputs.apiUrl
output databaseHost string = platform.outputs.databaseHost
