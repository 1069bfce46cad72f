import java.nio.file.*;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.locks.ReentrantLock;
public class Locks {
    static final ReentrantLock A = new ReentrantLock(), B = new ReentrantLock();
    static final CyclicBarrier BOTH = new CyclicBarrier(2);
    static void take(ReentrantLock first, ReentrantLock second) {
        first.lock();
        try { BOTH.await(); } catch (Exception e) { throw new RuntimeException(e); }
        second.lock();
    }
    public static void main(String[] arguments) throws Exception {
        Thread one = new Thread(() -> take(A, B)), two = new Thread(() -> take(B, A));
        one.start();
        two.start();
        Files.createFile(Path.of("blocking"));
        one.join();
    }
}
