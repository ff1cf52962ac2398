package stepenvs.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import scala.Tuple2;
import scienceworld.input.InputParser;
import scienceworld.input.InputParser$;
import scienceworld.objects.portal.Portal;
import scienceworld.struct.EnvObject;

/**
 * Finds the objects that an input may mean, in place of the parser's own search.
 *
 * <p>The parser compares each place of the input with every name of every object, names with containers included, and
 * makes these names anew for each place. But a name with a container begins with the name without one. So the short
 * names are made once for each input, and the long ones only for objects whose short name fits.
 */
public final class InputMatching {
    private static String[][] shortNames = new String[1024][];
    private static int[] inputOf = new int[1024]; // for which input the short names of an object were made
    private static int input;
    private static EnvObject viewpoint;

    private InputMatching() {}

    /** Called before each parse: while it lasts, no object changes. */
    public static void beforeParse() {
        input++;
    }

    /** Takes the place of {@code InputParser.matchObj}: the objects at the start of a text, each with what follows. */
    public static Tuple2<Object, Tuple2<String, EnvObject>[]> matchObj(
            InputParser parser, String text, EnvObject[] objects, EnvObject from) {
        List<Tuple2<String, EnvObject>> found = new ArrayList<>();
        for (EnvObject object : objects) {
            if (!startsWithAny(text, shortNames(object, from))) {
                continue;
            }
            for (String name : getObjectReferents(null, object, from)) {
                if (text.startsWith(name)) {
                    found.add(new Tuple2<>(text.substring(name.length()).trim(), object));
                }
            }
        }
        @SuppressWarnings("unchecked")
        Tuple2<String, EnvObject>[] array = found.toArray(new Tuple2[0]);
        return new Tuple2<>(!found.isEmpty(), array);
    }

    /** Takes the place of {@code InputParser.getObjectReferents}: all names of an object, as the parser reads them. */
    public static String[] getObjectReferents(InputParser$ parser, EnvObject object, EnvObject from) {
        // The engine makes a set of them once more after putting them in lower case, in which they are already.
        String[] names = Names.strings(object.getReferentsWithContainers(from));
        for (int i = 0; i < names.length; i++) {
            names[i] = tokenized(names[i]);
        }
        return names;
    }

    /** Takes the place of {@code InputParser.getPossibleReferents}, whose result is printed where nobody reads it. */
    public static String[] getPossibleReferents(InputParser$ parser, EnvObject root, EnvObject from) {
        return new String[0];
    }

    private static boolean startsWithAny(String text, String[] names) {
        for (String name : names) {
            if (text.startsWith(name)) {
                return true;
            }
        }
        return false;
    }

    private static String[] shortNames(EnvObject object, EnvObject from) {
        if (viewpoint != from) { // the name of a door depends on the side
            viewpoint = from;
            input++;
        }
        int number = (int) object.uuid();
        if (number >= shortNames.length) {
            shortNames = Arrays.copyOf(shortNames, number * 2);
            inputOf = Arrays.copyOf(inputOf, number * 2);
        }
        if (inputOf[number] != input) {
            String[] names = Names.of(object, from);
            for (int i = 0; i < names.length; i++) {
                names[i] = tokenized(names[i]);
            }
            shortNames[number] = names;
            inputOf[number] = input;
        }
        return shortNames[number];
    }

    /** Returns a text without articles and surplus blanks, as the parser does; most names have none to take out. */
    private static String tokenized(String text) {
        String trimmed = text.trim();
        for (int i = 0; i < trimmed.length(); i++) {
            char c = trimmed.charAt(i);
            boolean blank = c == ' ' && trimmed.charAt(i - 1) == ' ' || c >= '\t' && c <= '\r';
            boolean startsWord = i == 0 || trimmed.charAt(i - 1) == ' ';
            if (blank || startsWord && (c == 'a' || c == 't') && isArticle(trimmed, i)) {
                return String.join(" ", InputParser$.MODULE$.tokenize(text));
            }
        }
        return trimmed;
    }

    private static boolean isArticle(String text, int start) {
        int end = text.indexOf(' ', start);
        String word = text.substring(start, end < 0 ? text.length() : end);
        return word.equals("a") || word.equals("an") || word.equals("the");
    }
}
