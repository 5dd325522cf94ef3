//! An end that comes also when a test fails.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets a flag when it is dropped.
///
/// For threads of a scope that work until the flag is set: a scope waits for its threads, so a check that
/// fails before the flag is set would be waited with forever. This is dropped then, too.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::thread;
///
/// use fanfare_contract::EndOnDrop;
///
/// let is_over = AtomicBool::new(false);
/// thread::scope(|scope| {
///     let over = EndOnDrop::new(&is_over);
///     scope.spawn(|| while !is_over.load(Ordering::Relaxed) {});
///     assert_eq!(1 + 1, 2);
///     drop(over);
/// });
/// ```
#[derive(Debug)]
#[must_use = "it ends when it is dropped, which is at once unless it is kept"]
pub struct EndOnDrop<'a>(&'a AtomicBool);

impl<'a> EndOnDrop<'a> {
    /// The end that this flag stands for.
    pub fn new(is_over: &'a AtomicBool) -> Self {
        Self(is_over)
    }
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
