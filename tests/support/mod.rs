//! What every test needs: the binary under test, with an environment of its own.
