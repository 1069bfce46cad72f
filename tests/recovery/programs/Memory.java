public class Memory {
    public static void main(String[] arguments) {
        byte[][] blocks = new byte[Integer.parseInt(arguments[0]) / 8][];
        for (int i = 0; i < blocks.length; i++) {
            blocks[i] = new byte[8 << 20];
            java.util.Arrays.fill(blocks[i], (byte) 1);
        }
        System.out.println("had " + blocks.length * 8);
    }
}
