package stepenvs.engine;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import scala.Option;
import scienceworld.struct.EnvObject;

/** All names that one object answers to, with its container and without: as hashes at once, as texts when asked for. */
final class ObjectNames {
    /** Sets of names kept across steps; they hardly change from one step to the next. */
    private static final int SETS_KEPT = 4000;

    private static final Map<Long, NameSet> SETS = new HashMap<>();
    private static final Map<String, Integer> NUMBERS = new HashMap<>();

    private static ContainerNames[] containers = new ContainerNames[1024];
    private static int[] containerPass = new int[1024];
    private static ObjectNames[] objects = new ObjectNames[1024];
    private static int[] objectPass = new int[1024];
    private static int pass;

    /** Texts in their order, and a number for each: equal texts have equal numbers. */
    private static final class NameSet {
        final String[] texts;
        final int[] numbers;

        NameSet(String[] texts) {
            this.texts = texts;
            numbers = new int[texts.length];
            for (int i = 0; i < texts.length; i++) {
                numbers[i] = NUMBERS.computeIfAbsent(texts[i], absent -> NUMBERS.size());
            }
        }
    }

    private final String[] own;
    private final String[] container; // empty without a container
    private final long[] hashes;
    private NameSet set;

    private ObjectNames(EnvObject object, EnvObject from) {
        own = Names.of(object, from);
        Option<EnvObject> holder = object.getContainer();
        ContainerNames around = holder.isDefined() ? containerNames(holder.get()) : null;
        container = around == null ? new String[0] : around.names;
        long[] all = new long[own.length * (1 + 2 * container.length)];
        int count = 0;
        for (String name : own) {
            if (name.trim().isEmpty()) {
                continue;
            }
            long hash = Names.hash(name);
            if (name.length() > 1) {
                count = addNew(all, count, hash);
            }
            for (int i = 0; i < container.length; i++) {
                count = addNew(all, count, around.hashIn(hash, i));
                count = addNew(all, count, around.hashOn(hash, i));
            }
        }
        hashes = Arrays.copyOf(all, count);
    }

    private static int addNew(long[] hashes, int count, long hash) {
        for (int i = 0; i < count; i++) {
            if (hashes[i] == hash) {
                return count;
            }
        }
        hashes[count] = hash;
        return count + 1;
    }

    /** Forgets what was worked out: to be called when the world may have changed. */
    static void newPass() {
        pass++;
        if (SETS.size() > SETS_KEPT) {
            SETS.clear();
            NUMBERS.clear();
        }
    }

    /** Returns the names of objects as seen from a place; an object's names are worked out once in a pass. */
    static ObjectNames[] of(EnvObject[] objects, EnvObject from) {
        ObjectNames[] names = new ObjectNames[objects.length];
        for (int i = 0; i < objects.length; i++) {
            names[i] = of(objects[i], from);
        }
        return names;
    }

    private static ObjectNames of(EnvObject object, EnvObject from) {
        int number = (int) object.uuid();
        if (number >= objects.length) {
            objects = Arrays.copyOf(objects, number * 2);
            objectPass = Arrays.copyOf(objectPass, number * 2);
        }
        if (objectPass[number] != pass) {
            objects[number] = new ObjectNames(object, from);
            objectPass[number] = pass;
        }
        return objects[number];
    }

    private static ContainerNames containerNames(EnvObject container) {
        int number = (int) container.uuid();
        if (number >= containers.length) {
            containers = Arrays.copyOf(containers, number * 2);
            containerPass = Arrays.copyOf(containerPass, number * 2);
        }
        if (containerPass[number] != pass) {
            containers[number] = new ContainerNames(container);
            containerPass[number] = pass;
        }
        return containers[number];
    }

    /** How many different texts there are so far; their numbers are smaller. */
    static int differentTexts() {
        return NUMBERS.size();
    }

    /** Returns a hash for each name. */
    long[] hashes() {
        return hashes;
    }

    /** Returns the names in their order, as the engine sorts them. */
    String[] texts() {
        return set().texts;
    }

    /** Returns a number for each name, in the order of {@link #texts}. */
    int[] numbers() {
        return set().numbers;
    }

    private NameSet set() {
        if (set == null) {
            long key = hashes.length;
            for (long hash : hashes) {
                long mixed = hash * 0xBF58476D1CE4E5B9L;
                key += mixed ^ (mixed >>> 31); // a sum, for the order of the hashes means nothing
            }
            set = SETS.computeIfAbsent(key, absent -> new NameSet(sortedTexts()));
        }
        return set;
    }

    private String[] sortedTexts() {
        TreeSet<String> texts = new TreeSet<>();
        for (String name : own) {
            if (name.trim().isEmpty()) {
                continue;
            }
            texts.add(name);
            for (String holder : container) {
                texts.add(ContainerNames.in(name, holder));
                texts.add(ContainerNames.on(name, holder));
            }
        }
        texts.removeIf(text -> text.length() <= 1);
        return texts.toArray(new String[0]);
    }
}
