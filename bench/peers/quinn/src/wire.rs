//! Messages on a stream of quinn's, and the configuration of both ends.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, BufReader};

use crate::Result;

const PROTOCOL: &[u8] = b"bench";
const SOCKET_BUFFER: usize = 65536;

/// One connection and the one stream on it.
pub struct Wire {
    connection: quinn::Connection,
    output: quinn::SendStream,
    input: BufReader<quinn::RecvStream>,
    frame: Vec<u8>,
    message: Vec<u8>,
}

impl Wire {
    fn new(connection: quinn::Connection, stream: (quinn::SendStream, quinn::RecvStream)) -> Self {
        let input = BufReader::with_capacity(SOCKET_BUFFER, stream.1);
        Wire {
            connection,
            output: stream.0,
            input,
            frame: Vec::new(),
            message: Vec::new(),
        }
    }

    pub async fn dial(endpoint: &quinn::Endpoint, address: SocketAddr) -> Result<Self> {
        let connection = endpoint.connect(address, "bench")?.await?;
        let stream = connection.open_bi().await?;
        Ok(Wire::new(connection, stream))
    }

    pub async fn accept(incoming: quinn::Incoming) -> Result<Self> {
        let connection = incoming.await?;
        let stream = connection.accept_bi().await?;
        Ok(Wire::new(connection, stream))
    }

    pub async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.frame.clear();
        self.frame
            .extend_from_slice(&(message.len() as u32).to_be_bytes());
        self.frame.extend_from_slice(message);
        Ok(self.output.write_all(&self.frame).await?)
    }

    pub async fn receive(&mut self) -> Result<&[u8]> {
        let size = self.input.read_u32().await? as usize;
        self.message.resize(size, 0);
        self.input.read_exact(&mut self.message).await?;
        Ok(&self.message)
    }

    pub fn close(&self) {
        self.connection.close(0u32.into(), b"");
    }

    /// Waits until the peer has taken everything and closed.
    pub async fn closed(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(30), self.connection.closed()).await;
    }
}

fn transport() -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config.max_idle_timeout(Some(quinn::VarInt::from_u32(120_000).into()));
    config.keep_alive_interval(Some(Duration::from_secs(20)));
    if std::env::var("BENCH_CONGESTION").is_ok_and(|name| name == "bbr") {
        config.congestion_controller_factory(Arc::new(quinn::congestion::BbrConfig::default()));
    }
    Arc::new(config)
}

pub fn listen(address: SocketAddr) -> Result<quinn::Endpoint> {
    let own = rcgen::generate_simple_self_signed(vec!["bench".into()])?;
    let key = PrivateKeyDer::Pkcs8(own.key_pair.serialize_der().into());
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)?;
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport());
    Ok(quinn::Endpoint::server(config, address)?)
}

pub fn client() -> Result<quinn::Endpoint> {
    let provider = Arc::new(ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport());
    let host = std::env::var("CLIENT_HOST").unwrap_or_else(|_| "127.0.0.1".into());
    let socket = UdpSocket::bind((host.as_str(), 0))?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let mut endpoint =
        quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// Takes any certificate: the two programs are on one machine.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
