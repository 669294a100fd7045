// What a test starts (gcc, python, programs that leak sockets for a living) is not to be looked at for leaks of memory.
delete process.env['LD_PRELOAD'];
