import java.nio.file.*;
import java.util.Scanner;
public class Ask {
    public static void main(String[] arguments) throws Exception {
        System.out.print("Your choice: ");
        Files.createFile(Path.of("blocking"));
        System.out.println(new Scanner(System.in).nextLine());
    }
}
