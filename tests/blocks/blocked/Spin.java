import java.nio.file.*;
public class Spin {
    static volatile boolean done;
    public static void main(String[] arguments) throws Exception {
        Files.createFile(Path.of("blocking"));
        while (!done) Thread.onSpinWait();
    }
}
