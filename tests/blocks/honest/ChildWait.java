public class ChildWait {
    public static void main(String[] arguments) throws Exception {
        Process child = new ProcessBuilder("sleep", "12").start();
        String said = new String(child.getInputStream().readAllBytes());
        System.out.println(said + child.waitFor());
    }
}
