import java.net.ServerSocket;
public class Server {
    public static void main(String[] arguments) throws Exception {
        try (ServerSocket server = new ServerSocket(8080)) {
            while (true) server.accept().close();
        }
    }
}
