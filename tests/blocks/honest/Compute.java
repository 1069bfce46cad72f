public class Compute {
    public static void main(String[] arguments) {
        long end = System.nanoTime() + 20_000_000_000L, x = 1;
        while (System.nanoTime() < end)
            for (int i = 0; i < 1000000; i++) x = x * 6364136223846793005L + 1;
        System.out.println(x);
    }
}
