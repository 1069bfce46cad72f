import java.util.concurrent.*;
public class Order {
    public static void main(String[] arguments) throws Exception {
        Object one = new Object(), two = new Object();
        int workers = Math.min(2, Runtime.getRuntime().availableProcessors());
        CyclicBarrier meet = new CyclicBarrier(workers);
        ExecutorService pool = Executors.newFixedThreadPool(workers);
        for (Object[] locks : new Object[][] {{one, two}, {two, one}})
            pool.submit(() -> {
                synchronized (locks[0]) { meet.await(); synchronized (locks[1]) { System.out.println("done"); } }
                return null;
            });
        pool.shutdown();
        pool.awaitTermination(1, TimeUnit.HOURS);
    }
}
