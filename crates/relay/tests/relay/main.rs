//! The relay over real sockets: what terminals may do, what they get, and what links carry.

mod grants;
mod harness;
mod links;
mod media;
mod robust;
mod websocket;
