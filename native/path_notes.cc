#include "unwinder_client.h"

namespace socktrace {

const char *path_note_text(PathNote note) {
  switch (note) {
  case kNoteExited:
    return "exited before its code could be read";
  case kNoteCompat:
    return "a 32-bit program: its stacks are not read";
  case kNoteUnwinderDied:
    return "the unwinder died of it";
  case kNoteFileRefused:
    return "a file of its code could not be opened";
  case kNotePerfMapRefused:
    return "its /tmp/perf-PID.map is not a regular file of its own user: not read";
  case kNotePython:
    return "Python functions are not told apart: run it with -X perf (3.12 or newer)";
  case kNoteNode:
    return "JavaScript functions are not named: run it with --perf-basic-prof-only-functions "
           "--interpreted-frames-native-stack (in NODE_OPTIONS for what npm and others start)";
  case kNoteJavaNames:
    return "Java methods are not named: jcmd PID Compiler.perfmap (JDK 17 or newer) writes their names";
  case kNoteJavaFramePointers:
    return "compiled Java code hides its callers: run it with -XX:+PreserveFramePointer";
  case kNoteUnnamedJit:
    return "code generated at run time has no names: there is no /tmp/perf-PID.map";
  case kNoteUnreadStack:
    return "a part of the stack was not in memory";
  case kNoteForgotten:
    return "the unwinder does not know this path any more";
  case kNoteOtherStack:
    return "it goes on on another stack (a signal's, a coroutine's), which was not copied";
  case kNoteRefused:
    return "its memory map may not be read";
  case kNoteLate:
    return "its code could not be read in time";
  case kNoteExeced:
    return "the process has called exec since";
  case kNoteNoUnwinder:
    return "the unwinder could not be started";
  case kNoteTooManyMappings:
    return "it has more mappings than are read";
  }
  return "";
}

} // namespace socktrace
