"""TLS under Azure's host names and on loopback addresses: a private CA that may sign for nothing else.

Leaves are made again at each up.
"""

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox.folder import Folder

CA_DAYS = 365
LEAF_DAYS = 2
CLOCK_SKEW = timedelta(minutes=5)
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


def tls_context(folder: Folder, hosts: list[str]) -> ssl.SSLContext:
    """A server context for `hosts` (names, or `*.` and a domain). Makes the CA if there is none that lasts."""
    return _context(folder, folder.leaf, authority(folder, hosts), [x509.DNSName(host) for host in hosts])


def server_context(folder: Folder, hosts: list[str], address: str) -> ssl.SSLContext:
    """A server context for a loopback address, signed by the CA that signs for `hosts`."""
    name, file = x509.IPAddress(ipaddress.ip_address(address)), folder.leaf.with_name(f"leaf-{address}.pem")
    context = _context(folder, file, authority(folder, hosts), [name])
    file.unlink()
    return context


def _context(
    folder: Folder,
    file: Path,
    signer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate],
    names: Sequence[x509.GeneralName],
) -> ssl.SSLContext:
    key, certificate = signer
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    leaf = _leaf(leaf_key, key, certificate, names)
    folder.write(file, _pem(leaf_key) + _text(leaf) + _text(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(file)
    return context


def authority(folder: Folder, hosts: list[str]) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """The CA for `hosts` and loopback addresses: the one in the folder, or a new one if there is none that lasts."""
    domains = sorted({host.removeprefix("*.") for host in hosts})
    if folder.ca_key.exists() and folder.ca_bundle.exists():
        key = serialization.load_pem_private_key(folder.ca_key.read_bytes(), password=None)
        kept = x509.load_pem_x509_certificate(folder.ca_bundle.read_bytes())
        lasts = kept.not_valid_after_utc > datetime.now(UTC) + timedelta(days=LEAF_DAYS)
        if isinstance(key, ec.EllipticCurvePrivateKey) and lasts and _constraints(kept) == domains:
            return key, kept
    key = ec.generate_private_key(ec.SECP256R1())
    made = _new_authority(key, domains)
    folder.write(folder.ca_key, _pem(key))
    folder.write(folder.ca_bundle, _text(made))
    return key, made


def _constraints(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    kept = [name.value for name in names if isinstance(name, x509.DNSName)]
    # A CA of an earlier sandbox may sign for names only.
    return sorted(kept) if any(isinstance(name, x509.IPAddress) for name in names) else []


def _new_authority(key: ec.EllipticCurvePrivateKey, domains: list[str]) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sandbox CA (local only)")])
    permitted = [*(x509.DNSName(domain) for domain in domains), x509.IPAddress(LOOPBACK)]
    constraints = x509.NameConstraints(permitted, None)
    return (
        _builder(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(constraints, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    leaf_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    names: Sequence[x509.GeneralName],
) -> x509.Certificate:
    # OpenSSL would hold a subject that looks like a host name, an address does, against the permitted names.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sandbox server (local only)")])
    return (
        _builder(subject, authority.subject, leaf_key.public_key(), LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - CLOCK_SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
