import java.util.concurrent.*;
public class Scheduled {
    public static void main(String[] arguments) throws Exception {
        ScheduledExecutorService clock = Executors.newScheduledThreadPool(1);
        CountDownLatch done = new CountDownLatch(3);
        clock.scheduleAtFixedRate(done::countDown, 5, 5, TimeUnit.SECONDS);
        done.await();
        clock.shutdown();
        System.out.println("done");
    }
}
