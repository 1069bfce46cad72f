# A real compile by javac.
for c in $(seq 60); do
    {
        echo "import java.util.*; public class C$c {"
        for i in $(seq 200); do
            echo "static List<String> f$i(List<Integer> l) { return l.stream().map(x -> x + \" $i\").toList(); }"
        done
        echo "}"
    } > C$c.java
done
javac -d classes C*.java
