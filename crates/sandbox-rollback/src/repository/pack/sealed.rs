//! The parts of a sealed pack. One nonce serves one frame: its last byte says which part it is.
//!
//! ```text
//! frame    nonce (24), prefix (36 + 16), rest of the header (36 n + 16 + 16), payload (… + 16)
//! foot     nonce (24), foot (32 + 16)
//! ```

use std::io;

use super::super::{
    cipher::{Cipher, NONCE_BYTES, Nonce, Piece, TAG_BYTES, for_piece, place, random},
    frame::{self, Fault},
};

/// How much longer a foot is.
pub(super) const FOOT_EXTRA_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// The nonce and the prefix of a frame.
pub(super) const PREFIX_BYTES: usize = NONCE_BYTES + frame::PREFIX_BYTES + TAG_BYTES;

/// The number of the pack and the offset in it.
type Place = (u32, u64);

/// Returns how long what follows the prefix is, for a header of this length.
pub(super) fn rest_bytes(header_bytes: usize) -> usize {
    header_bytes - frame::PREFIX_BYTES + TAG_BYTES
}

pub(super) fn payload_bytes(bytes: usize) -> usize {
    bytes + TAG_BYTES
}

/// Returns the sealed form of a frame.
pub(super) fn frame(cipher: &Cipher, at: Place, frame: &[u8]) -> io::Result<Vec<u8>> {
    let wrong = |_: Fault| io::ErrorKind::InvalidInput;
    let header = frame::header_bytes(frame).map_err(wrong)?;
    let (header, payload) = frame.split_at(header);
    let (prefix, rest) = header.split_at(frame::PREFIX_BYTES);
    let nonce = fresh_nonce()?;
    let bound_to = place(at.0, at.1);
    let mut out = Vec::with_capacity(NONCE_BYTES + frame.len() + 3 * TAG_BYTES);
    out.extend_from_slice(&nonce);
    for (piece, plain) in [
        (Piece::Prefix, prefix),
        (Piece::Members, rest),
        (Piece::Payload, payload),
    ] {
        cipher.seal(&for_piece(nonce, piece), &bound_to, plain, &mut out)?;
    }
    Ok(out)
}

fn fresh_nonce() -> io::Result<Nonce> {
    let mut nonce: Nonce = random()?;
    nonce[NONCE_BYTES - 1] = 0;
    Ok(nonce)
}

/// Returns the nonce and the prefix of the frame that begins with `bytes`.
pub(super) fn open_prefix(cipher: &Cipher, at: Place, bytes: &[u8]) -> Option<(Nonce, Vec<u8>)> {
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
    let prefix = open(cipher, at, (nonce, Piece::Prefix), sealed)?;
    Some((*nonce, prefix))
}

/// Returns what follows the prefix of a header.
pub(super) fn open_rest(
    cipher: &Cipher,
    at: Place,
    (nonce, sealed): (&Nonce, &[u8]),
) -> Option<Vec<u8>> {
    open(cipher, at, (nonce, Piece::Members), sealed)
}

pub(super) fn open_payload(
    cipher: &Cipher,
    at: Place,
    (nonce, sealed): (&Nonce, &[u8]),
) -> Option<Vec<u8>> {
    open(cipher, at, (nonce, Piece::Payload), sealed)
}

/// Returns the sealed form of a foot.
pub(super) fn foot(cipher: &Cipher, at: Place, foot: &[u8]) -> io::Result<Vec<u8>> {
    let nonce = fresh_nonce()?;
    let mut out = nonce.to_vec();
    cipher.seal(
        &for_piece(nonce, Piece::Foot),
        &place(at.0, at.1),
        foot,
        &mut out,
    )?;
    Ok(out)
}

pub(super) fn open_foot(cipher: &Cipher, at: Place, bytes: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
    open(cipher, at, (nonce, Piece::Foot), sealed)
}

fn open(
    cipher: &Cipher,
    at: Place,
    (nonce, piece): (&Nonce, Piece),
    sealed: &[u8],
) -> Option<Vec<u8>> {
    // As it lies there, it is for no piece.
    if nonce[NONCE_BYTES - 1] != 0 {
        return None;
    }
    cipher.open(&for_piece(*nonce, piece), &place(at.0, at.1), sealed)
}
