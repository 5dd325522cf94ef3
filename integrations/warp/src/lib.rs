//! Server-sent events for warp.
