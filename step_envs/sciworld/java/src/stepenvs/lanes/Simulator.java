package stepenvs.lanes;

/** A simulator as Python holds it: each method is one call over the bridge, made inside the simulator's lane. */
public final class Simulator {
    private final Lane lane;
    private final LaneEngine engine;

    private Simulator(Lane lane) throws ReflectiveOperationException {
        this.lane = lane;
        this.engine = lane.newEngine();
    }

    /**
     * Makes a simulator.
     *
     * @param lane number of the lane it shares with others
     * @param classPath the jars with the engine's classes, for a lane that does not exist yet
     */
    public static Simulator open(int lane, String classPath) throws ReflectiveOperationException {
        return new Simulator(Lane.of(lane, classPath));
    }

    /**
     * Computes a gold path in a lane for gold paths: it takes seconds, and in the simulator's own lane all others would
     * wait for it.
     */
    public static String goldPath(int lane, String classPath, String task, int variation, String simplifications)
            throws ReflectiveOperationException {
        Simulator player = open(lane, classPath);
        return player.lane.call(player.engine, engine -> engine.goldPath(task, variation, simplifications));
    }

    /** See {@link LaneEngine#load}. */
    public String load(String task, int variation, String simplifications) {
        return lane.call(engine, engine -> engine.load(task, variation, simplifications));
    }

    /** See {@link LaneEngine#step}. */
    public String step(String action, boolean draw) {
        return lane.call(engine, engine -> engine.step(action, draw));
    }

    /** See {@link LaneEngine#validActions}. */
    public String validActions() {
        return lane.call(engine, LaneEngine::validActions);
    }

    /** See {@link LaneEngine#taskDescription}. */
    public String taskDescription() {
        return lane.call(engine, LaneEngine::taskDescription);
    }

    /** See {@link LaneEngine#goalProgress}. */
    public String goalProgress() {
        return lane.call(engine, LaneEngine::goalProgress);
    }
}
