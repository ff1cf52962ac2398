package stepenvs.engine;

import java.util.Arrays;
import scala.collection.Iterator;
import scala.collection.immutable.Set;
import scienceworld.objects.portal.Portal;
import scienceworld.struct.EnvObject;

/**
 * Names of objects, and a hash of them that can be put together like the names themselves.
 *
 * <p>An object answers to each of its names, and to each name with each name of its container: "apple", "apple in
 * bowl", "apple on bowl". A kitchen has thousands of such texts, and all that is asked of most of them is whether they
 * are equal. So they are compared by a polynomial hash of 64 bits, of which {@code hash(a + b)} is
 * {@code hash(a) * power(b.length()) + hash(b)}: no text is put together for it.
 */
final class Names {
    private static final long BASE = 0x9E3779B97F4A7C15L;
    private static long[] powers = {1};

    private Names() {}

    static String[] strings(Set<String> set) {
        String[] strings = new String[set.size()];
        Iterator<String> iterator = set.iterator();
        for (int i = 0; iterator.hasNext(); i++) {
            strings[i] = iterator.next();
        }
        return strings;
    }

    /** Returns the names of an object without its container, in lower case; those of a door depend on the side. */
    static String[] of(EnvObject object, EnvObject from) {
        return lowerCase(object instanceof Portal ? ((Portal) object).getReferents(from) : object.getReferents());
    }

    static String[] lowerCase(Set<String> names) {
        String[] strings = strings(names);
        for (int i = 0; i < strings.length; i++) {
            strings[i] = strings[i].toLowerCase();
        }
        return strings;
    }

    static long hash(String text) {
        long hash = 0;
        for (int i = 0; i < text.length(); i++) {
            hash = hash * BASE + text.charAt(i) + 1;
        }
        return hash;
    }

    /** Returns what a hash is multiplied by if so many characters follow. */
    static long power(int characters) {
        int known = powers.length;
        if (characters >= known) {
            powers = Arrays.copyOf(powers, 2 * characters);
            for (int i = known; i < powers.length; i++) {
                powers[i] = powers[i - 1] * BASE;
            }
        }
        return powers[characters];
    }
}
