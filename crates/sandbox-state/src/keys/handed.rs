//! A key for something else than the secrets of a store, from the same kinds of source.

use zeroize::Zeroizing;

use super::{KEY_BYTES, KeyError, KeySource, SecretKey, passphrase};

impl KeySource {
    /// Returns the keys that may have sealed something of the caller's, the one to seal new things with
    /// first: two of them while a key file is replaced by another one. `salt` is for a passphrase.
    ///
    /// # Errors
    ///
    /// Fails when there is no key. With `make`, a key file is made if it is not there.
    pub fn handed_out(
        &self,
        salt: [u8; 16],
        make: bool,
    ) -> Result<Vec<Zeroizing<[u8; KEY_BYTES]>>, KeyError> {
        let keys = match self {
            Self::None => Vec::new(),
            Self::Text { text, origin } => vec![SecretKey::from_text(text, origin.clone())?],
            Self::Passphrase { text, origin } => {
                vec![passphrase::key(text, u128::from_le_bytes(salt), origin)?]
            }
            Self::File(path) => {
                let next = SecretKey::load(&Self::File(super::rotation::next(path)))?;
                let current = if make && next.is_none() {
                    Some(SecretKey::load_or_make(self)?)
                } else {
                    SecretKey::load(self)?
                };
                next.into_iter().chain(current).collect()
            }
        };
        if keys.is_empty() {
            return Err(self.missing());
        }
        let handed = |key: SecretKey| Zeroizing::new(*key.bytes.bytes());
        Ok(keys.into_iter().map(handed).collect())
    }
}
