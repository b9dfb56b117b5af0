//! Small programs that use the libraries; each says in its first lines how to run it.
