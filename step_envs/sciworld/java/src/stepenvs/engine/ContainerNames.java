package stepenvs.engine;

import scienceworld.struct.EnvObject;

/** The names of a container, ready to be put behind the names of what it contains. */
final class ContainerNames {
    private static final String IN = " in ";
    private static final String ON = " on ";
    private static final long IN_HASH = Names.hash(IN);
    private static final long ON_HASH = Names.hash(ON);

    final String[] names;
    private final long[] in;
    private final long[] on;
    private final long[] shift;

    ContainerNames(EnvObject container) {
        names = Names.lowerCase(container.getReferents());
        in = new long[names.length];
        on = new long[names.length];
        shift = new long[names.length];
        for (int i = 0; i < names.length; i++) {
            long hash = Names.hash(names[i]);
            long power = Names.power(names[i].length());
            in[i] = IN_HASH * power + hash;
            on[i] = ON_HASH * power + hash;
            shift[i] = power * Names.power(IN.length());
        }
    }

    /** Returns the hash of "name in container", by the hash of the name and the number of the container's name. */
    long hashIn(long nameHash, int i) {
        return nameHash * shift[i] + in[i];
    }

    /** Returns the hash of "name on container". */
    long hashOn(long nameHash, int i) {
        return nameHash * shift[i] + on[i];
    }

    static String in(String name, String container) {
        return name + IN + container;
    }

    static String on(String name, String container) {
        return name + ON + container;
    }
}
