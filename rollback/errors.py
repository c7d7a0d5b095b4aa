"""Our error tree: each leaf names the event and tells the operator what to do next.

`Transient` may pass by itself and may be tried again; `Permanent` will not. `Refused` is the promise that nothing was
touched.
"""


class RollbackError(Exception):
    """Any error whose text is written for the operator; `remedy` says what to do next."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class Transient(RollbackError):
    """It may pass by itself; the client has already tried again as often as is wise."""


class Permanent(RollbackError):
    """Trying again as it is will not help."""


class Refused(Permanent):
    """The procedure does not start: nothing was touched."""


class SettingsInvalid(Refused):
    """`fundrbolt.toml` or an environment variable cannot be used; names the field."""


class UnknownEnvironment(Refused):
    """The platform file has no such environment."""


class UnknownRelease(Refused):
    """The release manifest has no such release."""


class NoSlots(Refused):
    """The environment's app has no slot to swap with."""


class NoDatabase(Refused):
    """The platform file names no database for the environment."""


class NoCache(Refused):
    """The platform file names no cache for the environment."""


class PatternRefused(Refused):
    """A pattern reaches keys that it must not, or nothing says what is to be deleted; says what would have to be."""


class CacheUnusable(Refused):
    """The cache lets us not in, or not do what is needed; says why."""


class CacheUnreachable(Transient):
    """No answer from the cache's server, or it is not ready yet."""


class CacheMoved(Transient):
    """A server of the cache is no longer, or not yet, the one that has these keys: it failed over, or slots moved."""


class NoMigrations(Refused):
    """The platform file does not say how the environment runs alembic."""


class NoInfrastructure(Refused):
    """The platform file does not say which template the environment is deployed from."""


class TemplateUnfit(Refused):
    """A template or its parameters cannot be used: missing, not compiled, not understood, or refused by Azure."""


class PolicyDenied(Refused):
    """A policy of the subscription forbids what would be deployed; names it."""


class QuotaExceeded(Refused):
    """The subscription's quota does not allow what would be deployed."""


class ResourceLocked(Refused):
    """A lock forbids the change; names it."""


class ArchiveMissing(Refused):
    """The run archived no template that could be deployed again."""


class NoFrontends(Refused):
    """The platform file knows no such frontend, or no workflow that deploys it."""


class NoGitHub(Refused):
    """The platform file names no GitHub repository."""


class ArtifactUnfit(Refused):
    """A release's archive is missing, damaged, or must not be unpacked; says why."""


class BrowserUnusable(Permanent):
    """There is no browser, or it could not open the page; says why."""


class RerunRefused(Refused):
    """The workflow run cannot be run again, or is not the right one; says why."""


class GitHubUnreachable(Transient):
    """No answer from GitHub, or only its errors, for as long as the client tries."""


class GitHubLimited(Transient):
    """GitHub's rate limit is used up; says until when."""


class DeploymentFailed(Permanent):
    """A deployment ended as failed; says why."""


class DowngradeUnfit(Refused):
    """The way down cannot be gone, or must not be unless what speaks against it is waived by name."""


class RehearsalFailed(Refused):
    """A rehearsal came out wrong, or could not be held; production was not touched."""


class WrongDatabase(Refused):
    """What the secret or the name of the server leads to is not the database of the plan."""


class RestorePointInvalid(Refused):
    """The restore point is no instant with a time zone, or outside of the window in which Azure can restore."""


class SecretUnusable(Refused):
    """The secret with the database's URL cannot be read, is disabled, or does not hold such a URL."""


class NothingToUndo(Refused):
    """The run is no restore whose cut-over still holds: it was never made, or others changed the secret since."""


class ConsumerUnfit(Refused):
    """An app could not follow to another database: its reference names a version, or does not resolve."""


class TargetUnknown(Refused):
    """No build is known to have served production before; says what is known."""


class TargetUnfit(Refused):
    """The slot's build must not be put into production; says why."""


class ImageMissing(Refused):
    """The registry has no such image."""


class SlotUnhealthy(Refused):
    """The slot that would be swapped in does not answer as it must."""


class OperationInProgress(Refused):
    """Azure is busy with the app; a change now would collide."""


class PermissionMissing(Refused):
    """The credential lacks an Azure action; names it."""


class CredentialRejected(Refused):
    """Entra ID or Azure Resource Manager does not accept the credential."""


class ResourceMissing(Refused):
    """A resource that the platform file names does not exist."""


class EnvironmentLocked(Refused):
    """Another run holds the environment, or left it unfinished."""


class RunAtWork(EnvironmentLocked):
    """Another process works on this very run: its folder and its state are that one's."""


class RunUnknown(Refused):
    """There is no such run to resume or abandon."""


class ApprovalRefused(Refused):
    """What was handed over does not approve the plan; says why. The run goes on waiting."""


class ApprovalExpired(Refused):
    """Nobody approved the plan in time: expiry never means yes."""


class NotWaiting(Refused):
    """The run does not wait for an approval."""


class PlanIsStale(Permanent):
    """The world moved since the plan was made, outside of its tolerance."""


class LeaseLost(Permanent):
    """The environment's lease is no longer ours; nothing more may be changed."""


class AzureUnreachable(Transient):
    """No answer from Azure, or only its errors, for as long as the client tries."""


class SwapFailed(Permanent):
    """Azure ended the swap as failed, and nothing was swapped."""


class SomebodyElseSwapped(Permanent):
    """A swap that is not ours changed the slots meanwhile: reported, not fought."""


class OutcomeUnknown(Permanent):
    """What was sent may or may not have happened, and the time to find out has passed."""


class FoundBad(Permanent):
    """What was put in place does not serve users as it must, and has to be taken back."""


class StepTimedOut(Permanent):
    """A step did not end within its time, whatever it waited for."""


class TakenBack(Permanent):
    """It was found bad and taken back: users get what they got before."""


class NotVerified(Permanent):
    """What was changed is in place, but what users get could not be shown to be right."""


class NameTaken(Permanent):
    """The name of the new server belongs to a server that is not ours."""


class RestoreFailed(Permanent):
    """Azure could not restore, or the restored server cannot be used."""


class PartsDiffer(Permanent):
    """The restored server differs from its source in what was not waived by name."""


class ReferenceStaysOld(Permanent):
    """An app's reference does not show the secret's new version: the app is not started with it."""


class SomebodyElseChanged(Permanent):
    """What we changed was changed by others meanwhile: reported, not fought."""


class MaintenanceNotSeen(Permanent):
    """What an app answers is not what its maintenance setting says."""


class ResourceIdInvalid(Refused):
    """What was given is no resource id, or of a resource that does not belong to the environment."""


class NoEarlierState(Refused):
    """No earlier configuration of the resource is known, or the one that was named is not; says what there is."""


class PropertyUnknown(Refused):
    """A path that was named is of no property that could come back; names what is alike."""


class NothingToPatch(Refused):
    """What differs cannot be brought back by a PATCH; names it."""


class ArchiveUnreadable(Permanent):
    """An archive is damaged: what is in it is not what was written."""


class RevisionsUnreadable(Refused):
    """The app's migrations cannot be read at all; says why."""


class ChainBroken(Refused):
    """Alembic would fail, or do the wrong thing, with these revisions; names them and what is missing."""


class RevisionUnknown(Refused):
    """No revision, or more than one, is what was named; says what there is."""


class NotBelow(Refused):
    """No downgrade leads from the one revision to the other."""


class MigrationFailed(Permanent):
    """Alembic ended without having gone down; has its last words, without secrets."""


class MigrationCutOff(Transient):
    """Nobody heard alembic's end: what it did is in the database only."""
