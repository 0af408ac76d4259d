// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel

import java.util.Properties

import scala.util.Using

import org.apache.spark.{SparkEnv, SPARK_VERSION}
import org.slf4j.LoggerFactory

/**
 * What the jar was built as, and whether this Spark can run it.
 *
 * Nothing here touches what may differ between Spark's minor versions.
 */
object BridgeVersion {
  private val Setting = "spark.sparkmodel.bridge.jar" // Python's sparkmodel.spark.bridge reads it

  private val properties = {
    val loaded = new Properties()
    Using.resource(getClass.getResourceAsStream("/sparkmodel-bridge.properties"))(loaded.load)
    loaded
  }

  /** Version of sparkmodel that the jar belongs to. */
  val sparkmodel: String = properties.getProperty("version")

  /** Minor version of the Spark that the jar was compiled against, such as 4.3. */
  val spark: String = minor(properties.getProperty("spark"))

  /** Says what it finds to the log, and to Python through a setting; returns whether the bridge fits this Spark. */
  def check(): Boolean = {
    // sessions take their settings from here: also those of Connect, whose clients cannot look into the JVM
    Option(SparkEnv.get).foreach(_.conf.set(Setting, s"$sparkmodel $spark"))
    val here = minor(SPARK_VERSION)
    if (spark != here) LoggerFactory.getLogger("io.sparkmodel").warn(
      s"[BRIDGE_WRONG_SPARK] Cannot use the bridge in this session: it is built for Spark $spark, this is $here. " +
        "Hint: run 'pip install --no-build-isolation' for sparkmodel beside the pyspark that runs.")
    spark == here
  }

  private def minor(version: String): String = version.split('.').take(2).mkString(".")
}
