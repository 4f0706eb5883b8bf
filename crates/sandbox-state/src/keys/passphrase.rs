//! A key that is made of a passphrase: Argon2id ([RFC 9106](https://www.rfc-editor.org/rfc/rfc9106)).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use super::{KEY_BYTES, KeyError, SecretKey, memory::KeyMemory};

/// The second recommended choice of RFC 9106, section 4: 64 MiB, three passes. It has four lanes there; one is computed
/// here at a time, so there is one.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// A shorter one is guessed.
pub(super) const PASSPHRASE_BYTES_MIN: usize = 8;

/// Returns the key of a passphrase in the store with this salt.
pub(super) fn key(passphrase: &str, salt: u128, origin: &str) -> Result<SecretKey, KeyError> {
    let origin = origin.to_owned();
    if passphrase.len() < PASSPHRASE_BYTES_MIN {
        return Err(KeyError::ShortPassphrase { origin });
    }
    let failed = |error: argon2::Error| KeyError::Derive {
        origin: origin.clone(),
        reason: error.to_string(),
    };
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(KEY_BYTES)).map_err(failed)?;
    let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
    let mut bytes = KeyMemory::new().map_err(KeyError::Memory)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(
            passphrase.as_bytes(),
            &salt.to_le_bytes(),
            bytes.bytes_mut(),
            &mut **memory,
        )
        .map_err(failed)?;
    Ok(SecretKey { bytes, origin })
}
