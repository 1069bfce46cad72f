import java.nio.file.*;
import java.util.concurrent.*;
public class HangsOnce {
    public static void main(String[] arguments) throws Exception {
        CountDownLatch latch = new CountDownLatch(1);
        if (Files.exists(Path.of("seen-java"))) latch.countDown();
        else Files.createFile(Path.of("seen-java"));
        latch.await();
        System.out.println("done");
    }
}
