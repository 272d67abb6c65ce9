//! The ssh-agent's protocol, as far as it is needed: which keys it holds, and a signature by one.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ssh_key::{Algorithm, PublicKey, Signature};

/// How long the agent may take: it may ask a person.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest answer that is read, in bytes, as OpenSSH's own client bounds it.
const LONGEST_ANSWER: u32 = 256 << 10;

/// Numbers of the messages (draft-ietf-sshm-ssh-agent).
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Why the agent did not help.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It could not be reached, or went silent.
    #[error("the ssh-agent does not answer")]
    Io(#[from] io::Error),
    /// It said something else.
    #[error("the ssh-agent answered {found}, expected {expected}")]
    Answer {
        /// What it said.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// A connection to an agent.
#[derive(Debug)]
pub struct Agent(UnixStream);

impl Agent {
    /// Connects to the socket that `SSH_AUTH_SOCK` names.
    pub fn connect(socket: &Path) -> Result<Self, AgentError> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// The keys that it holds; those of kinds that nobody knows are left out.
    pub fn keys(&mut self) -> Result<Vec<PublicKey>, AgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES])?;
        let mut rest = expect(&answer, IDENTITIES_ANSWER, "its keys")?;
        let count = number(&mut rest)?;
        let mut keys = Vec::new();
        for _ in 0..count {
            let blob = text(&mut rest)?;
            let _comment = text(&mut rest)?;
            keys.extend(PublicKey::from_bytes(blob).ok());
        }
        Ok(keys)
    }

    /// A signature over bytes as they are.
    pub fn sign(&mut self, key: &PublicKey, message: &[u8]) -> Result<Signature, AgentError> {
        let blob = key.to_bytes().map_err(|error| io::Error::other(error.to_string()))?;
        let mut request = vec![SIGN_REQUEST];
        push(&mut request, &blob);
        push(&mut request, message);
        request.extend(0_u32.to_be_bytes());
        let answer = self.ask(&request)?;
        let mut rest = expect(&answer, SIGN_RESPONSE, "a signature")?;
        let mut signature = text(&mut rest)?;
        let kind = text(&mut signature)?;
        let bytes = text(&mut signature)?;
        let strange = |found: String| AgentError::Answer { found, expected: "an Ed25519 signature" };
        if kind != Algorithm::Ed25519.as_str().as_bytes() {
            return Err(strange(String::from_utf8_lossy(kind).escape_debug().to_string()));
        }
        Signature::new(Algorithm::Ed25519, bytes).map_err(|error| strange(error.to_string()))
    }

    fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentError> {
        let mut message = Vec::new();
        push(&mut message, request);
        self.0.write_all(&message)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length == 0 || length > LONGEST_ANSWER {
            return Err(AgentError::Answer { found: format!("{length} bytes"), expected: "a message" });
        }
        let mut answer = vec![0; length as usize];
        self.0.read_exact(&mut answer)?;
        Ok(answer)
    }
}

fn push(message: &mut Vec<u8>, part: &[u8]) {
    message.extend(u32::try_from(part.len()).expect("a statement is far below 4 GiB").to_be_bytes());
    message.extend(part);
}

fn expect<'a>(answer: &'a [u8], kind: u8, expected: &'static str) -> Result<&'a [u8], AgentError> {
    match answer.split_first() {
        Some((found, rest)) if *found == kind => Ok(rest),
        found => {
            Err(AgentError::Answer { found: format!("message {}", found.map_or(0, |one| *one.0)), expected })
        }
    }
}

fn short() -> AgentError {
    AgentError::Answer { found: "less than it announced".to_owned(), expected: "a whole message" }
}

fn number(rest: &mut &[u8]) -> Result<u32, AgentError> {
    let (first, behind) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    *rest = behind;
    Ok(u32::from_be_bytes(*first))
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], AgentError> {
    let length = number(rest)? as usize;
    let (text, behind) = rest.split_at_checked(length).ok_or_else(short)?;
    *rest = behind;
    Ok(text)
}
