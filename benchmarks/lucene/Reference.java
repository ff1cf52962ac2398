import io.anserini.analysis.AnalyzerUtils;
import io.anserini.analysis.DefaultEnglishAnalyzer;
import io.anserini.search.SimpleSearcher;
import io.anserini.search.query.BagOfWordsQueryGenerator;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.charset.StandardCharsets;
import java.nio.file.Paths;
import java.util.List;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.similarities.BM25Similarity;
import org.apache.lucene.store.MMapDirectory;

/**
 * Lucene's side of the comparison: analyses or searches what it reads, a line at a time.
 *
 * <p>{@code analyze}: each line is a text as hexadecimal code points; the answer is its terms with tabs between.
 *
 * <p>{@code search INDEX K}: each line is a query; the answer is the ids of the K best documents with spaces between.
 *
 * <p>{@code time INDEX K}: as {@code search}, answered at once, so that another engine can take turns with this one. Two
 * numbers stand before the ids: nanoseconds of CPU of Lucene's search alone (the query is analysed and the K best are
 * found), and of the searcher that the original calls, which also reads the documents.
 */
public final class Reference {
  public static void main(String[] arguments) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, "UTF-8");
    Analyzer analyzer = DefaultEnglishAnalyzer.newDefaultInstance();
    if (arguments[0].equals("time")) {
      time(in, out, analyzer, arguments[1], Integer.parseInt(arguments[2]));
      return;
    }
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

  private static void time(BufferedReader in, PrintStream out, Analyzer analyzer, String folder, int most)
      throws Exception {
    ThreadMXBean clock = ManagementFactory.getThreadMXBean();
    SimpleSearcher searcher = new SimpleSearcher(folder);
    IndexSearcher alone = new IndexSearcher(DirectoryReader.open(MMapDirectory.open(Paths.get(folder))));
    alone.setSimilarity(new BM25Similarity(0.9f, 0.4f));
    BagOfWordsQueryGenerator queries = new BagOfWordsQueryGenerator();
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      long begin = clock.getCurrentThreadCpuTime();
      alone.search(queries.buildQuery("contents", analyzer, line), most, SimpleSearcher.BREAK_SCORE_TIES_BY_DOCID, true);
      long middle = clock.getCurrentThreadCpuTime();
      SimpleSearcher.Result[] results = searcher.search(line, most);
      long end = clock.getCurrentThreadCpuTime();
      StringBuilder answer = new StringBuilder();
      answer.append(middle - begin).append(' ').append(end - middle);
      for (SimpleSearcher.Result result : results) {
        answer.append(' ').append(result.docid);
      }
      out.print(answer.append('\n'));
      out.flush();
    }
  }
}
