"""A certificate authority that stands in for istiod's: certificates with the names that the mesh gives its pods."""

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates valid for a day.

    Args:
        folder: For certificates and keys, as PEM files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
        builder = self._builder(self.name, self.key)
        root = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.root = folder / "root.pem"
        self.root.write_bytes(root.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def certificate(self, namespace: str, service_account: str) -> tuple[Path, Path]:
        """Files of the certificate and the key of spiffe://cluster.local/ns/<namespace>/sa/<service account>."""
        uri = f"spiffe://cluster.local/ns/{namespace}/sa/{service_account}"
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        # Without a subject, as Istio's are: then the name that counts is marked critical.
        signed = self._builder(x509.Name([]), key).add_extension(names, critical=True).sign(self.key, hashes.SHA256())
        stem = self.folder / f"{namespace}.{service_account}"
        certificate_file, key_file = stem.with_suffix(".crt"), stem.with_suffix(".key")
        certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file

    def identity(self, namespace: str, service_account: str) -> ssl.SSLContext:
        """What a sidecar connects with in the name of a service account."""
        context = self.nobody()
        context.load_cert_chain(*self.certificate(namespace, service_account))
        return context

    def nobody(self) -> ssl.SSLContext:
        """TLS without a client certificate."""
        context = ssl.create_default_context(cafile=str(self.root))
        # The peer's name is a URI, which is for policies to judge; the host of a URL is not in it.
        context.check_hostname = False
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
        )
