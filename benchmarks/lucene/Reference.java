import io.anserini.analysis.AnalyzerUtils;
import io.anserini.analysis.DefaultEnglishAnalyzer;
import io.anserini.search.SimpleSearcher;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.lucene.analysis.Analyzer;

/**
 * Lucene's side of the comparison: analyses or searches what it reads, a line at a time.
 *
 * <p>{@code analyze}: each line is a text as hexadecimal code points; the answer is its terms with tabs between.
 *
 * <p>{@code search INDEX K}: each line is a query; the answer is the ids of the K best documents with spaces between.
 */
public final class Reference {
  public static void main(String[] arguments) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, "UTF-8");
    Analyzer analyzer = DefaultEnglishAnalyzer.newDefaultInstance();
    SimpleSearcher searcher = arguments[0].equals("search") ? new SimpleSearcher(arguments[1]) : null;
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      if (searcher == null) {
        StringBuilder text = new StringBuilder();
        for (String point : line.split(" ")) {
          if (!point.isEmpty()) {
            text.appendCodePoint(Integer.parseInt(point, 16));
          }
        }
        List<String> terms = AnalyzerUtils.analyze(analyzer, text.toString());
        out.print(String.join("\t", terms));
      } else {
        StringBuilder ids = new StringBuilder();
        for (SimpleSearcher.Result result : searcher.search(line, Integer.parseInt(arguments[2]))) {
          ids.append(result.docid).append(' ');
        }
        out.print(ids);
      }
      out.print('\n');
    }
    out.flush();
  }
}
