// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{CreateNamedStruct, Expression, Literal, UnaryExpression}
import org.apache.spark.sql.catalyst.expressions.codegen.{CodegenContext, ExprCode}
import org.apache.spark.sql.types.DataType

/** The only argument of a call whose columns have names that bind; people see the columns as they wrote them. */
case class ArgumentRow(child: Expression) extends UnaryExpression {
  override def dataType: DataType = child.dataType
  override def nullable: Boolean = child.nullable
  override def eval(input: InternalRow): Any = child.eval(input)
  override protected def doGenCode(ctx: CodegenContext, ev: ExprCode): ExprCode = child.genCode(ctx)
  override def sql: String = values.map(_.sql).mkString(", ")
  override def toString: String = values.mkString(", ")
  override protected def withNewChildInternal(newChild: Expression): ArgumentRow = copy(child = newChild)

  private def values: Seq[Expression] = child match {
    case row: CreateNamedStruct => row.valExprs
    case other => Seq(other)
  }
}

object ArgumentRow {
  def of(columns: Seq[(String, Expression)]): ArgumentRow =
    ArgumentRow(CreateNamedStruct(columns.flatMap { case (name, value) => Seq(Literal(name), value) }))
}
