import java.util.concurrent.*;
public class Pool {
    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        Future<Integer> slow = pool.submit(() -> { Thread.sleep(18000); return 1; });
        System.out.println(slow.get());
        pool.shutdown();
    }
}
