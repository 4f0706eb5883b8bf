//! How the C library looks names up.
#![expect(
    unsafe_code,
    reason = "the GNU C library has a function of its own for it"
)]

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// glibc, `nss/nsswitch.h`; exported since 2.0.
    fn __nss_configure_lookup(
        database: *const libc::c_char,
        services: *const libc::c_char,
    ) -> libc::c_int;
}

/// Looks host names up in `/etc/hosts` and by DNS, whatever `/etc/nsswitch.conf` says. Holds for the whole process.
pub(crate) fn use_files_and_dns() {
    #[cfg(target_env = "gnu")]
    // SAFETY: both are strings that live for ever, and the C library takes a lock of its own. It fails only for a
    // database that it does not know.
    unsafe {
        __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr());
    }
}
