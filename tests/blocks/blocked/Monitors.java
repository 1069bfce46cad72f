import java.nio.file.*;
import java.util.concurrent.CyclicBarrier;
public class Monitors {
    static final Object A = new Object(), B = new Object();
    static final CyclicBarrier BOTH = new CyclicBarrier(2);
    static void take(Object first, Object second) {
        synchronized (first) {
            try { BOTH.await(); } catch (Exception e) { throw new RuntimeException(e); }
            synchronized (second) { System.out.println("never"); }
        }
    }
    public static void main(String[] arguments) throws Exception {
        Thread one = new Thread(() -> take(A, B)), two = new Thread(() -> take(B, A));
        one.start();
        two.start();
        Files.createFile(Path.of("blocking"));
        one.join();
        two.join();
    }
}
