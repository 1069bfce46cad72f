import java.nio.file.*;
import java.util.concurrent.*;
public class Latch {
    public static void main(String[] arguments) throws Exception {
        CountDownLatch done = new CountDownLatch(2);
        ExecutorService pool = Executors.newFixedThreadPool(2);
        pool.submit(done::countDown);
        pool.submit(() -> { if (arguments.length > 0) done.countDown(); });
        Thread.sleep(300);
        Files.createFile(Path.of("blocking"));
        done.await();
        System.out.println("never");
    }
}
