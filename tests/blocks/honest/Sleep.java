public class Sleep {
    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 5; i++) Thread.sleep(4000);
    }
}
