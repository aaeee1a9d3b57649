//! The API from the outside: over scripted levels without a socket, and over real sockets.

mod admission;
mod completions;
mod door;
mod events;
mod faults;
mod grpc;
mod logprobs;
mod memory;
mod page;
mod refusals;
mod replicas;
mod serve;
mod sockets;
mod world;
