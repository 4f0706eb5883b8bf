//! The key of an encrypted repository, and what is sealed with it: XChaCha20-Poly1305
//! ([draft-irtf-cfrg-xchacha](https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha-03)).

use std::{io, sync::Arc};

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use rustix::rand::GetRandomFlags;
use zeroize::Zeroizing;

use super::{key::Slot, wire::Out};

/// The bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
pub(super) const NONCE_BYTES: usize = 24;
/// How much longer sealed bytes are.
pub(super) const TAG_BYTES: usize = 16;

/// A nonce: random but for its last byte, which says what it seals.
pub(super) type Nonce = [u8; NONCE_BYTES];

/// The cipher of an encrypted repository; none if it is not encrypted.
pub(super) type Sealing = Option<Arc<Cipher>>;

/// What is sealed, as the last byte of its nonce: one place never has two messages with one nonce.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    Prefix = 1,
    Members = 2,
    Payload = 3,
    Foot = 4,
}

/// Seals and opens what is in a repository.
pub(super) struct Cipher {
    aead: XChaCha20Poly1305,
    key: Zeroizing<[u8; KEY_BYTES]>,
    /// The key, wrapped: how it lies in the repository.
    pub(super) slot: Slot,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

impl Cipher {
    pub(super) fn new(key: Zeroizing<[u8; KEY_BYTES]>, slot: Slot) -> Self {
        Self {
            aead: XChaCha20Poly1305::new((&*key).into()),
            key,
            slot,
        }
    }

    pub(super) fn key(&self) -> &Zeroizing<[u8; KEY_BYTES]> {
        &self.key
    }

    /// Appends the sealed form of `plain`.
    pub(super) fn seal(
        &self,
        nonce: &Nonce,
        bound_to: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let payload = Payload {
            msg: plain,
            aad: bound_to,
        };
        let sealed = self.aead.encrypt(&XNonce::from(*nonce), payload);
        out.extend(sealed.map_err(|_too_long| io::ErrorKind::FileTooLarge)?);
        Ok(())
    }

    /// Returns what was sealed; `None` if a bit of it, its nonce or its place is another one.
    pub(super) fn open(&self, nonce: &Nonce, bound_to: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload {
            msg: sealed,
            aad: bound_to,
        };
        self.aead.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

/// Returns what binds bytes to their place: the pack's number and the offset in it.
pub(super) fn place(pack: u32, offset: u64) -> Vec<u8> {
    let mut out = Out::default();
    out.u64(u64::from(pack));
    out.u64(offset);
    out.0
}

/// Returns `nonce` for this piece of what it is for.
pub(super) fn for_piece(mut nonce: Nonce, piece: Piece) -> Nonce {
    nonce[NONCE_BYTES - 1] = piece as u8;
    nonce
}

/// Returns random bytes.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let rest = &mut bytes[filled..];
        filled += rustix::io::retry_on_intr(|| {
            rustix::rand::getrandom(&mut *rest, GetRandomFlags::empty())
        })?;
    }
    Ok(bytes)
}
