//! Runs the cascade over remote levels behind an OpenAI-compatible API.
