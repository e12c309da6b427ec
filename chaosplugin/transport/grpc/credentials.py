"""The server's certificate, read again when its files change: connections from then on see the new one."""

import logging

import grpc

from chaosplugin import certificates, files
from chaosplugin.certificates import BadCertificate

_log = logging.getLogger(__name__)


class CannotServeError(Exception):
    """The server cannot begin; the text is one line for the operator."""


class ServerCertificate:
    """Files of a certificate chain, its key, and perhaps the CA of those who may call."""

    def __init__(self, certificate: str, key: str, client_ca: str | None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._paths = [certificate, key, *([client_ca] if client_ca else [])]
        self._seen: files.Version | None = None
        self._complained: files.Version | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Raises: CannotServeError, if the files are not what they must be now."""
        try:
            self._seen = files.version(self._paths)
            first = self._read()
        except BadCertificate as error:
            raise CannotServeError(f"no TLS: {error}") from None
        return grpc.dynamic_ssl_server_credentials(
            first,
            self._fetch,  # type: ignore[arg-type]  # it may answer None
            require_client_authentication=self._client_ca is not None,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Answer gRPC, which asks before each connection, on a thread of its own; None leaves all as it is.

        It must not raise, and what is half written can wait.
        """
        found = files.version(self._paths)
        if found in (self._seen, self._complained) or None in found:  # between the old link and the new one
            return None
        try:
            fresh = self._read()
        except BadCertificate as error:
            self._complained = found
            _log.warning("the new certificate is not usable, the old one stays: %s", error)
            return None
        self._seen = found
        _log.info("the certificate was read again")
        return fresh

    def _read(self) -> grpc.ServerCertificateConfiguration:
        chain, key = certificates.read_pair(self._certificate, self._key)
        roots = certificates.read_authorities(self._client_ca) if self._client_ca else None
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=roots)
