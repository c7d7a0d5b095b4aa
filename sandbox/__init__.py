"""A local Azure to rehearse on. The genuine Azure SDKs and the genuine Azure CLI cannot tell, for what is used.

Every module tells one story; every Azure service is a folder that registers its routes, its hosts and its faults:

- `commands` (`python -m sandbox …`), `control` (the same from Python), `server` (what `up` runs).
- `proxy`, `certificates`: Azure's real host names, and nothing else, through CONNECT and TLS.
- `directory`, `entra`, `tokens`: who there is, how they sign in, and what proves it.
- `rbac`, `arm`, `resources`, `inventory`: who may do what, the frame around every request to Azure Resource Manager,
  and what belongs to no single service. `authorization`: roles and assignments as clients see and change them.
- `insights`: metrics of the requests that were really made. `registry`: ghcr.io, where the images are.
- `keyvault`: vaults, their secrets, and the references to them in app settings.
- `postgresql`: database servers, each a real PostgreSQL that really restores.
- `web`: Microsoft.Web, sites and slots. `fundrbolt`: what runs in the slots. `front`: the cache before production.
- `state`, `start`: what is where, and how it stands in the beginning. `pace`: how long things take.
- `processes`, `container_logs`: the slots' processes and what they wrote.
- `faults`: what can be broken on demand. `recording`: what was asked and answered, for checks afterwards.

What does not belong here: anything of the product (the two are strangers; they agree on Azure's protocols and on the
platform's names only), answers that please one client, and a silent 200 for something that is not there: that is 501.
"""
