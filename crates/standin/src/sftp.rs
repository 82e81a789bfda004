//! The SFTP server's outer half: SSH, who may log in, and what tests may break.

use std::io;
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tracing::debug;

use crate::acceptor::Acceptor;
use crate::script::{Line, Play, Script};
use crate::sftp_session::SftpSession;

/// What the server shows and to whom.
#[derive(Debug, Clone)]
pub struct SftpOptions {
    /// The folder shown as `/`; it must exist.
    pub root: PathBuf,
    /// The only user.
    pub user: String,
    /// The password, if one may be used.
    pub password: Option<String>,
    /// A public key that may be used, as a line of `authorized_keys` without options.
    pub authorized_key: Option<String>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum SftpStartError {
    /// The public key of the user is none.
    #[error("the authorized key is not a public key in OpenSSH's format")]
    AuthorizedKey(#[source] russh::keys::ssh_key::Error),
    /// The new host key could not be written as text.
    #[error("cannot write the host key as text")]
    HostKey(#[source] russh::keys::ssh_key::Error),
    /// No port of 127.0.0.1 could be opened.
    #[error("cannot listen on 127.0.0.1")]
    Listen(#[source] io::Error),
}

/// An SFTP server on a free port of 127.0.0.1, with a host key of its own.
#[derive(Debug)]
pub struct SftpServer {
    acceptor: Acceptor,
    host_key: String,
    faults: Arc<Faults>,
    /// Ends when the last task of the last connection has.
    all_ended: mpsc::Receiver<()>,
}

/// What is to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    refuse_auth: AtomicBool,
    refuse_writes: AtomicBool,
    cut: Notify,
    pub(crate) play: Play,
}

impl Faults {
    pub(crate) fn writes_refused(&self) -> bool {
        self.refuse_writes.load(Ordering::Relaxed)
    }
}

impl SftpServer {
    /// Starts a server.
    pub async fn start(options: SftpOptions) -> Result<Self, SftpStartError> {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&rand::random()));
        let host_key = key.public_key().to_openssh().map_err(SftpStartError::HostKey)?;
        let authorized_key = options
            .authorized_key
            .as_deref()
            .map(PublicKey::from_openssh)
            .transpose();
        let authorized_key = authorized_key.map_err(SftpStartError::AuthorizedKey)?;
        let config = Arc::new(Config {
            keys: vec![key],
            auth_rejection_time: Duration::ZERO,
            inactivity_timeout: None,
            ..Config::default()
        });
        let faults = Arc::new(Faults::default());
        let (alive, all_ended) = mpsc::channel(1);
        let account = Arc::new(Account {
            root: options.root,
            user: options.user,
            password: options.password,
            authorized_key,
            faults: Arc::clone(&faults),
            _alive: alive,
        });
        let acceptor =
            Acceptor::start(move |socket| serve(Arc::clone(&config), socket, Arc::clone(&account)))
                .await
                .map_err(SftpStartError::Listen)?;
        Ok(Self {
            acceptor,
            host_key,
            faults,
            all_ended,
        })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.acceptor.port()
    }

    /// The public host key: type and base64, as in a `.pub` file.
    pub fn host_key_openssh(&self) -> &str {
        &self.host_key
    }

    /// The line of a `known_hosts` file by which clients know the server.
    pub fn known_hosts_line(&self) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port(), self.host_key)
    }

    /// Whether every login is refused, from now on.
    pub fn refuse_auth(&self, refuse: bool) {
        self.faults.refuse_auth.store(refuse, Ordering::Relaxed);
    }

    /// Whether every write is refused, as on a full disk, from now on.
    pub fn refuse_writes(&self, refuse: bool) {
        self.faults.refuse_writes.store(refuse, Ordering::Relaxed);
    }

    /// Cuts the connections there are; new ones are taken.
    pub fn cut_connections(&self) {
        self.faults.cut.notify_waiters();
    }

    /// From now on it does what a script says, as often as that says, counted anew.
    pub fn misbehave(&self, script: Script) {
        self.faults.play.begin(script);
    }

    /// How often a mishap of the script has happened; `mishap`: its place there, from 0.
    pub fn happened(&self, mishap: usize) -> usize {
        self.faults.play.happened(mishap)
    }

    /// Closes the port, cuts the connections and waits until nothing touches the folder any more.
    pub async fn stop(mut self) {
        self.acceptor.stop().await;
        self.faults.play.end();
        while self.all_ended.recv().await.is_some() {}
    }
}

/// Cuts a connection when dropped: russh's tasks see the end of the stream and finish.
struct CutOnDrop(std::net::TcpStream);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        // It fails only when the client has gone already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// What the connections share.
pub(crate) struct Account {
    pub(crate) root: PathBuf,
    user: String,
    password: Option<String>,
    authorized_key: Option<PublicKey>,
    pub(crate) faults: Arc<Faults>,
    /// Dropped with the last task that may touch the folder, which [`SftpServer::stop`] waits for.
    _alive: mpsc::Sender<()>,
}

impl Account {
    fn verdict(&self, user: &str, proven: bool) -> Auth {
        let refused = self.faults.refuse_auth.load(Ordering::Relaxed);
        if proven && user == self.user && !refused {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }
}

/// Serves one connection until the client leaves or the connection is cut.
async fn serve(config: Arc<Config>, socket: TcpStream, account: Arc<Account>) {
    let faults = Arc::clone(&account.faults);
    let line = Line::default();
    // Dropped last: when the socket is closed.
    let _gone = line.gone.clone().drop_guard();
    let cut = line.cut.clone();
    let session = async {
        let socket = socket.into_std()?;
        let _cut = CutOnDrop(socket.try_clone()?);
        let socket = TcpStream::from_std(socket)?;
        socket.set_nodelay(true)?;
        run_stream(
            config,
            socket,
            Connection {
                account,
                line,
                channel: None,
            },
        )
        .await?
        .await
    };
    let ended: Result<(), russh::Error> = tokio::select! {
        ended = session => ended,
        () = faults.cut.notified() => return,
        () = cut.cancelled() => return,
    };
    if let Err(error) = ended {
        debug!(%error, "an SSH connection ended");
    }
}

/// One connection: checks the login and starts SFTP.
struct Connection {
    account: Arc<Account>,
    line: Line,
    /// A channel that was opened and does not run SFTP yet.
    channel: Option<Channel<Msg>>,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(self
            .account
            .verdict(user, self.account.password.as_deref() == Some(password)))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let known = self.account.authorized_key.as_ref().map(PublicKey::key_data);
        Ok(self
            .account
            .verdict(user, known == Some(key.public_key.key_data())))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self
            .channel
            .take_if(|channel| name == "sftp" && channel.id() == id)
        {
            Some(channel) => {
                session.channel_success(id)?;
                let sftp = SftpSession::new(Arc::clone(&self.account), self.line.clone());
                russh_sftp::server::run(channel.into_stream(), sftp).await;
            }
            None => session.channel_failure(id)?,
        }
        Ok(())
    }
}
