package stepenvs.lanes;

import java.io.File;
import java.net.MalformedURLException;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Function;

/**
 * A copy of the engine's classes that many simulators use by turns.
 *
 * <p>The obvious way to keep simulators apart is a class loader for each. Then each loads 900 classes, and Java compiles
 * the engine anew for each. So a few lanes serve all simulators; the engine in a lane exchanges its global variables
 * between calls ({@code stepenvs.engine.LaneSimulator}). Two lanes can run at the same time, two simulators of one lane
 * cannot.
 *
 * <p>After an exception nobody knows what is left in the global variables. Then the lane is given up: the next simulator
 * that asks for a lane of this number gets a new one, and simulators of the old one are told by
 * {@link LaneLostException}.
 */
final class Lane {
    private static final String ENGINE = "stepenvs.engine.LaneSimulator";
    private static final Map<Integer, Lane> LANES = new HashMap<>();

    private final int number;
    private final ClassLoader loader;
    private boolean lost;

    private Lane(int number, String classPath) {
        this.number = number;
        this.loader = new URLClassLoader(urls(classPath), Lane.class.getClassLoader());
    }

    /** Returns the lane of a number; makes it if there is none. */
    static Lane of(int number, String classPath) {
        synchronized (LANES) {
            return LANES.computeIfAbsent(number, absent -> new Lane(absent, classPath));
        }
    }

    /** Makes an engine inside this lane. */
    synchronized LaneEngine newEngine() throws ReflectiveOperationException {
        try {
            return (LaneEngine) loader.loadClass(ENGINE).getMethod("create").invoke(null);
        } catch (ReflectiveOperationException | LinkageError fault) {
            giveUp();
            throw fault;
        }
    }

    /** Makes one call; gives the lane up if the call throws. */
    synchronized String call(LaneEngine engine, Function<LaneEngine, String> call) {
        if (lost) {
            throw new LaneLostException(number);
        }
        try {
            return call.apply(engine);
        } catch (Throwable fault) {
            giveUp();
            throw fault;
        }
    }

    private void giveUp() {
        lost = true;
        synchronized (LANES) {
            LANES.remove(number, this);
        }
    }

    /** Reads the addresses of the jars, one a line; a file that is not there would be passed over in silence. */
    private static URL[] urls(String classPath) {
        String[] addresses = classPath.split("\n");
        URL[] urls = new URL[addresses.length];
        for (int i = 0; i < addresses.length; i++) {
            URI address = URI.create(addresses[i]);
            if (!new File(address).isFile()) {
                throw new IllegalArgumentException("Java cannot read the file of " + address);
            }
            try {
                urls[i] = address.toURL();
            } catch (MalformedURLException error) {
                throw new IllegalArgumentException(addresses[i], error);
            }
        }
        return urls;
    }
}
