package stepenvs.lanes;

/**
 * All that one step gives, in one text: a step is one call over the bridge.
 *
 * <p>The first line holds numbers: score, whether the task is completed, ticks of the engine's clock, bytes of the heap,
 * and how many characters long the observation and the look are. After the line break come observation, look and
 * inventory, one behind the other. Lengths and not separators, because the texts may hold any character.
 */
public final class Reply {
    private Reply() {}

    /** Lays out a reply. Lengths are in Unicode code points, which is what Python counts. */
    public static String text(
            String score, boolean completed, int ticks, String observation, String look, String inventory) {
        long heap = Runtime.getRuntime().totalMemory();
        return score + " " + completed + " " + ticks + " " + heap + " " + length(observation) + " " + length(look) + "\n"
                + observation + look + inventory;
    }

    private static int length(String text) {
        return text.codePointCount(0, text.length());
    }
}
