// Listens at the end of a chain of calls as often as it is told; before the last time the JVM writes its perf map.
import java.net.InetAddress;
import java.net.ServerSocket;

public class Chain {
  static void openSocket() throws Exception {
    new ServerSocket(0, 1, InetAddress.getLoopbackAddress()).close();
  }

  static void second() throws Exception {
    openSocket();
  }

  static void first() throws Exception {
    second();
  }

  static void writeNames() throws Exception {
    String pid = Long.toString(ProcessHandle.current().pid());
    new ProcessBuilder("jcmd", pid, "Compiler.perfmap").start().waitFor();
  }

  public static void main(String[] arguments) throws Exception {
    int times = Integer.parseInt(arguments[0]);
    for (int i = 0; i < times; i++) {
      if (i == times - 1) writeNames();
      first();
    }
  }
}
