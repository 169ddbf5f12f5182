"""The inside of `autoprox.srmudp`, in files small enough to read. Nothing here is public.

native        finds the C extension, which holds the engine
errors        every error class, from the engine's own table
config        Config and Rule, with the range of each value
events        Status, StatusChange, Event
delivery      which of the messages sent the peer's application consumed
callbacks     calls what set_callbacks() set, one at a time, in order
connection    Connection
endpoint      Endpoint, Listener; fork and exit
classic       SecureReliableSocket, blocking, on a hidden loop
"""
