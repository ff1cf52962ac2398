package stepenvs.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import scala.Predef$;
import scala.Tuple2;
import scala.collection.immutable.Map;
import scala.collection.mutable.HashMap;
import scienceworld.input.InputParser;
import scienceworld.input.InputParser$;
import scienceworld.struct.EnvObject;

/**
 * Chooses a name for each object that no other object has, in place of the engine's {@code chooseUniqueReferents}.
 *
 * <p>An object that has a name of its own gets the first of them. The others, twins, try one name after the other: ten
 * times the next one, and ten times one at random, always all whose present name is taken. These are the only random
 * numbers that listing the valid actions draws, and how many they are depends on the twins alone. So the names of all
 * other objects need not be known to draw them.
 */
public final class UniqueNames {
    private static final int ATTEMPTS = 20;
    private static final int ATTEMPTS_IN_ORDER = 10;
    private static final HashCounts COUNTS = new HashCounts();
    private static int[] takers = new int[1024]; // number of a text -> how many twins have it now

    private UniqueNames() {}

    /** Takes the place of the method of {@code InputParser} that names the objects for the list of valid actions. */
    public static Map<Object, String> getAllUniqueReferentsLUTObjList(
            InputParser parser, EnvObject[] objects, EnvObject from, boolean includeHidden, boolean recursive) {
        ObjectNames.newPass();
        String[] chosen = choose(ObjectNames.of(objects, from));
        HashMap<Object, String> names = new HashMap<>();
        for (int i = 0; i < objects.length; i++) {
            names.update(objects[i].uuid(), chosen[i]);
        }
        return names.toMap(Predef$.MODULE$.$conforms());
    }

    /** Takes the place of the method of {@code InputParser} that names the objects of a place for gold paths. */
    @SuppressWarnings("unchecked")
    public static Tuple2<String, EnvObject>[] getAllUniqueReferents(
            InputParser$ parser, EnvObject root, boolean includeHidden, boolean recursive) {
        EnvObject[] objects = recursive
                ? ObjectTree.containedAndPortalsRecursive(root, includeHidden, true)
                : ObjectTree.collectAccessible(root, includeHidden);
        ObjectNames.newPass();
        String[] chosen = choose(ObjectNames.of(objects, root));
        Tuple2<String, EnvObject>[] named = new Tuple2[objects.length];
        for (int i = 0; i < objects.length; i++) {
            if (chosen[i].startsWith(" ")) {
                // The engine ends the whole process here. An exception ends this call.
                throw new IllegalStateException("an object without a name: " + objects[i].toStringMinimal());
            }
            named[i] = new Tuple2<>(chosen[i], objects[i]);
        }
        Arrays.sort(named, (one, other) -> one._1().compareTo(other._1()));
        return named;
    }

    /** Draws the random numbers of a choice, and makes no names. */
    static void draw(ObjectNames[] objects) {
        chooseForTwins(twinsAmong(objects));
    }

    private static String[] choose(ObjectNames[] objects) {
        List<ObjectNames> twins = twinsAmong(objects);
        int[] choices = chooseForTwins(twins);
        String[] chosen = new String[objects.length];
        int twin = 0;
        for (int i = 0; i < objects.length; i++) {
            if (twin < twins.size() && isTwin(objects[i])) {
                chosen[i] = objects[i].texts()[choices[twin++]];
            } else {
                chosen[i] = firstOfItsOwn(objects[i]);
            }
        }
        return chosen;
    }

    /** Returns the objects, in their order, that have no name of their own. */
    private static List<ObjectNames> twinsAmong(ObjectNames[] objects) {
        COUNTS.clear();
        for (ObjectNames object : objects) {
            for (long hash : object.hashes()) {
                COUNTS.add(hash);
            }
        }
        List<ObjectNames> twins = new ArrayList<>();
        for (ObjectNames object : objects) {
            if (isTwin(object)) {
                twins.add(object);
            }
        }
        return twins;
    }

    private static boolean isTwin(ObjectNames object) {
        for (long hash : object.hashes()) {
            if (COUNTS.count(hash) == 1) {
                return false;
            }
        }
        return true;
    }

    private static String firstOfItsOwn(ObjectNames object) {
        for (String text : object.texts()) {
            if (COUNTS.count(Names.hash(text)) == 1) {
                return text;
            }
        }
        throw new IllegalStateException("an object with a name of its own that has none");
    }

    /** Returns the place of each twin's name among its names. */
    private static int[] chooseForTwins(List<ObjectNames> twins) {
        int count = twins.size();
        int[][] names = new int[count][];
        int[] choices = new int[count];
        for (int i = 0; i < count; i++) {
            names[i] = twins.get(i).numbers();
        }
        if (takers.length < ObjectNames.differentTexts()) {
            takers = new int[ObjectNames.differentTexts() * 2];
        }
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            // Who has which name is counted once for each attempt; choices made in it count for the next one.
            for (int i = 0; i < count; i++) {
                takers[names[i][choices[i]]] = 0;
            }
            for (int i = 0; i < count; i++) {
                takers[names[i][choices[i]]]++;
            }
            for (int i = 0; i < count; i++) {
                if (takers[names[i][choices[i]]] > 1) {
                    choices[i] = attempt < ATTEMPTS_IN_ORDER
                            ? (choices[i] + 1) % names[i].length
                            : scala.util.Random$.MODULE$.nextInt(names[i].length);
                }
            }
        }
        return choices;
    }
}
